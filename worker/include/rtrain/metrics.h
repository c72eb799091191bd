// Streaming metrics: values of a whole epoch from batches, equal on one rank and on many.
//   rtrain::metrics::Accuracy accuracy({.task = rtrain::metrics::Task::kMulticlass, .num_classes = 10});
//   accuracy.update(logits, target);              // each batch
//   double value = accuracy.compute().item();     // of all batches so far
// Formulas and names are those of torchmetrics 1.9; docs/guides/metrics.md tells what differs.
#pragma once

#include <rtrain/metrics/aggregation.h>
#include <rtrain/metrics/classification.h>
#include <rtrain/metrics/collection.h>
#include <rtrain/metrics/curves.h>
#include <rtrain/metrics/functional.h>
#include <rtrain/metrics/metric.h>
#include <rtrain/metrics/regression.h>
#include <rtrain/metrics/sync.h>
#include <rtrain/metrics/text.h>
