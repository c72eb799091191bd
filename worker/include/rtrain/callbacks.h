// The callbacks that the SDK provides.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/callbacks/batch_size_finder.h>
#include <rtrain/callbacks/device_stats_monitor.h>
#include <rtrain/callbacks/early_stopping.h>
#include <rtrain/callbacks/finetuning.h>
#include <rtrain/callbacks/gradient_accumulation_scheduler.h>
#include <rtrain/callbacks/lambda_callback.h>
#include <rtrain/callbacks/learning_rate_finder.h>
#include <rtrain/callbacks/learning_rate_monitor.h>
#include <rtrain/callbacks/model_checkpoint.h>
#include <rtrain/callbacks/model_summary.h>
#include <rtrain/callbacks/on_exception_checkpoint.h>
#include <rtrain/callbacks/prediction_writer.h>
#include <rtrain/callbacks/progress_bar.h>
#include <rtrain/callbacks/spike_detection.h>
#include <rtrain/callbacks/stochastic_weight_averaging.h>
#include <rtrain/callbacks/throughput_monitor.h>
#include <rtrain/callbacks/timer.h>
#include <rtrain/callbacks/train_report.h>
#include <rtrain/callbacks/weight_averaging.h>
