// The callbacks that the SDK provides.
#pragma once

#include <rtrain/callback.h>
#include <rtrain/callbacks/early_stopping.h>
#include <rtrain/callbacks/gradient_accumulation_scheduler.h>
#include <rtrain/callbacks/lambda_callback.h>
#include <rtrain/callbacks/model_checkpoint.h>
#include <rtrain/callbacks/train_report.h>
