"""The routes: each opens what came in, calls one service, and answers."""
