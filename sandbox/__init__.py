"""The sandbox: stand-ins of Perma.cc, of CyberSource's hosted checkout, and of a mail server.

For development: one small web application on its own port, and another port that receives mail. It is written from
the two contracts alone (docs/contracts) and shares no code with Perma Payments, so that each checks the other. It
handles invented people and public test cards only, keeps everything in memory, and must never be open to the
public.
"""
