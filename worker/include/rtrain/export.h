#pragma once

/// Marks what librtrain.so shows to a training library; everything else in it is hidden.
#define RTRAIN_API __attribute__((visibility("default")))
