from __future__ import annotations

from runnel.lowering.expressions import ExpressionLowering
from runnel.plan.relations import FileScan


def lower_csv(scan: FileScan, context: ExpressionLowering) -> str:
    raise NotImplementedError
