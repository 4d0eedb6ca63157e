"""Metrics of quality, against a reference and at full resolution."""

from xrs.quality.catalogue import METRICS, Metric, list_metrics
from xrs.quality.change import all_round
from xrs.quality.distance import error_by_distance
from xrs.quality.errors import mrae, psnr, rmse, rmse_global, sre
from xrs.quality.intervals import ause, coverage, ence, interval_width, sparsification
from xrs.quality.no_reference import consistency, d_lambda, d_lambda_k, d_s, evaluate_fullres, hqnr, qnr
from xrs.quality.reference import cc, ergas, evaluate, q2n, sam, scc, ssim, uiqi

__all__ = [
    "METRICS",
    "Metric",
    "all_round",
    "ause",
    "cc",
    "consistency",
    "coverage",
    "d_lambda",
    "d_lambda_k",
    "d_s",
    "ence",
    "ergas",
    "error_by_distance",
    "evaluate",
    "evaluate_fullres",
    "hqnr",
    "interval_width",
    "list_metrics",
    "mrae",
    "psnr",
    "q2n",
    "qnr",
    "rmse",
    "rmse_global",
    "sam",
    "scc",
    "sparsification",
    "sre",
    "ssim",
    "uiqi",
]
