// Reads and writes the `validation` object.
#pragma once

#include "proto/jobspec/object_reader.h"

namespace rtrain::proto {

/// Into spec.validation, after train_func and command were read.
void read_validation(ObjectReader& top, JobSpec& spec);
/// Defaults filled in; what is absent stays out.
[[nodiscard]] Json validation_json(const ValidationConfig& validation);
/// The object under `key` as a configuration of a training function: its type, depth and size are checked.
void read_config(ObjectReader& reader, const char* key, Json& config);

}  // namespace rtrain::proto
