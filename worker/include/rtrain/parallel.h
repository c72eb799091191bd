// Layers and attention that several ranks compute together. See docs/guides/parallel.md.
#pragma once

#include <rtrain/parallel/context.h>
#include <rtrain/parallel/group.h>
#include <rtrain/parallel/linear.h>
#include <rtrain/parallel/partition.h>
#include <rtrain/parallel/pipeline.h>
#include <rtrain/parallel/sequence.h>
#include <rtrain/parallel/vocabulary.h>
#include <rtrain/strategies/model_parallel.h>
