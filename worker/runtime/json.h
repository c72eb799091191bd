// The JSON seam for the rest of the worker, which does not see proto/.
#pragma once

#include "proto/json.h"

namespace rtrain::runtime {

using proto::dump_json;
using proto::dump_json_pretty;
using proto::json_number;
using proto::parse_json;

/// A number as dump_json() wrote it, NaN and infinity included. @param if_null what null stands for:
/// checkpoints of version 1 wrote it for a number that is not finite.
[[nodiscard]] inline double saved_number(const proto::Json& value, double if_null) {
  double number = if_null;
  if (!value.is_null()) (void)json_number(value, number);
  return number;
}

}  // namespace rtrain::runtime
