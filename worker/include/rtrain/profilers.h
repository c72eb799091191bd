// Profilers that come with the SDK.
#pragma once

#include <rtrain/profiler.h>
#include <rtrain/profilers/pytorch_profiler.h>
#include <rtrain/profilers/simple_profiler.h>
