// Loggers that come with the SDK.
#pragma once

#include <rtrain/logger.h>
#include <rtrain/loggers/csv_logger.h>
