"""Mutated documents through check and emit, every answer clean: ``python -m benchmarks.fuzz_language 100000``."""

from __future__ import annotations

import sys
import time
from collections import Counter

from services.definition import check
from services.errors import InvalidRequest
from services.modules import emit
from tests.conformance.audit import assert_harmless
from tests.conformance.mutations import mutated

SLOW_SECONDS = 0.5


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    codes: Counter[str] = Counter()
    slowest, slowest_seed = 0.0, -1
    for seed in range(first, first + count):
        begin = time.process_time()
        try:
            assert_harmless(emit(check(mutated(seed))))
            codes["accepted"] += 1
        except InvalidRequest as error:
            codes.update({problem.code for problem in error.problems})
        except Exception:
            print(f"seed {seed} breaks the checker")
            raise
        taken = time.process_time() - begin
        if taken > slowest:
            slowest, slowest_seed = taken, seed
    print(f"{count} documents; slowest {slowest * 1000:.0f} ms (seed {slowest_seed}); answers that hold a code:")
    for code, number in codes.most_common():
        print(f"  {code:24}{number:8}")


if __name__ == "__main__":
    main()
