// The JSON seam for the rest of the worker, which does not see proto/.
#pragma once

#include "proto/json.h"

namespace rtrain::runtime {

using proto::dump_json;
using proto::dump_json_pretty;
using proto::json_number;
using proto::parse_json;

}  // namespace rtrain::runtime
