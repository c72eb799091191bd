// The visibility of the symbols of librtrain.so.
#pragma once

/// Exports a symbol from librtrain.so; all others are hidden.
#define RTRAIN_API __attribute__((visibility("default")))
