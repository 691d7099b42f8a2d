"""How reading a status report grows with its rows:  python -m bench.status_report

Writes reports of 5,000 and of 50,000 rows as CyberSource does, and reads each in turns. Memory is the most
that was allocated at once while reading, besides the file itself.
"""

import argparse
import statistics
import time
import tracemalloc

from perma_payments.cybersource.status_report import read_report

FEW, MANY = 5_000, 50_000
STATUSES = ["CURRENT", "CURRENT", "CURRENT", "HOLD", "CANCELED"]


def report(rows: int) -> bytes:
    """A report of so many rows, of distinct subscriptions."""
    lines = [
        "Subscription Search Results",
        "Merchant ID: example_merchant",
        "Date: Mar 01 2025",
        "",
        "Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Frequency,Next Date,Status",
    ]
    for number in range(rows):
        lines.append(
            f"{7408214003316000000001 + number},PERMA-{number // 10_000:04}-{number % 10_000:04},"
            f'"Example {number}, Erin",15.00,USD,monthly,Apr 01 2025,{STATUSES[number % len(STATUSES)]}'
        )
    return "\r\n".join([*lines, ""]).encode()


def seconds(data: bytes) -> float:
    """The time that it takes to read a report."""
    start = time.perf_counter()
    read_report(data)
    return time.perf_counter() - start


def memory(data: bytes) -> tuple[int, int]:
    """The bytes in use when a report has been read, and the most in use until then."""
    tracemalloc.start()
    found = read_report(data)
    used, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found.unread
    return used, most


def main() -> None:
    """Print the figures, and the ratios by which they can be compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="how often each report is read (default: 9)")
    times = parser.parse_args().times

    few, many = report(FEW), report(MANY)
    taken = [(seconds(few), seconds(many)) for _ in range(times)]
    few_seconds, many_seconds = (statistics.median(column) for column in zip(*taken, strict=True))
    (few_used, few_most), (many_used, many_most) = memory(few), memory(many)

    print(f"{'rows':>8} {'file':>9} {'median':>9} {'in use':>9} {'at most':>9}")
    for rows, data, median, used, most in [
        (FEW, few, few_seconds, few_used, few_most),
        (MANY, many, many_seconds, many_used, many_most),
    ]:
        size, used_size, most_size = (f"{number / 1e6:>6.1f} MB" for number in (len(data), used, most))
        print(f"{rows:>8,} {size} {median:>7.3f} s {used_size} {most_size}")
    print(
        f"Ten times the rows: {many_seconds / few_seconds:.1f} times the time, {many_most / few_most:.1f} times "
        "the memory at most."
    )
    print(
        f"{MANY:,} rows: at most {many_most / many_used:.2f} times the memory of the report itself, "
        f"{many_most / len(many):.2f} times the size of the file."
    )


if __name__ == "__main__":
    main()
