// The fields of the values that events and the stored state of a job share. Private to proto/*.cpp and daemon/store.
#pragma once

#include "proto/event/event.h"
#include "proto/message/type_fields.h"

namespace rtrain::proto {

void visit_fields(auto& visit, Is<ArrayTask> auto& v) {
  visit("id", v.id);
  visit("index", v.index);
  visit("count", v.count);
  visit("max_running", v.max_running);
}

}  // namespace rtrain::proto
