// Loggers that come with the SDK.
#pragma once

#include <rtrain/logger.h>
#include <rtrain/loggers/csv_logger.h>
#include <rtrain/loggers/jsonl_logger.h>
#include <rtrain/loggers/mlflow_logger.h>
#include <rtrain/loggers/tensorboard_logger.h>
