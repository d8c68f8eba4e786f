"""Frozen facts: what the other rooms hand to one another. numpy only, no I/O."""

from epochal.facts.better import better_by_name
from epochal.facts.graph import Edge, Graph, GraphSource, Group, Layer, Parameter, Shape, Skip
from epochal.facts.lab import LabInfo, Trial, TrialState, TrialStatus
from epochal.facts.media import BLOB_EXTENSIONS, EmbeddingSet, MediaItem
from epochal.facts.predictions import PredictionHistory, PredictionSet
from epochal.facts.run import Better, Notice, RunInfo, RunStatus, SeriesSummary
from epochal.facts.scores import Calibration, ClassScores, ScoreCurve
from epochal.facts.statistics import HISTOGRAM_BINS, STATISTICS, StatisticsRow
from epochal.facts.structure import find_groups, mark_skips
from epochal.facts.surroundings import (
    SYSTEM_PREFIX,
    SYSTEM_SERIES,
    Alert,
    AlertLevel,
    ConsoleLine,
    Stream,
    SystemSeries,
    is_system,
    system_series,
)

__all__ = [
    "BLOB_EXTENSIONS",
    "HISTOGRAM_BINS",
    "STATISTICS",
    "SYSTEM_PREFIX",
    "SYSTEM_SERIES",
    "Alert",
    "AlertLevel",
    "Better",
    "Calibration",
    "ClassScores",
    "ConsoleLine",
    "Edge",
    "EmbeddingSet",
    "Graph",
    "GraphSource",
    "Group",
    "LabInfo",
    "Layer",
    "MediaItem",
    "Notice",
    "Parameter",
    "PredictionHistory",
    "PredictionSet",
    "RunInfo",
    "RunStatus",
    "ScoreCurve",
    "SeriesSummary",
    "Shape",
    "Skip",
    "StatisticsRow",
    "Stream",
    "SystemSeries",
    "Trial",
    "TrialState",
    "TrialStatus",
    "better_by_name",
    "find_groups",
    "is_system",
    "mark_skips",
    "system_series",
]
