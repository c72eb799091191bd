#pragma once

#include "proto/message/outbox.h"

namespace rtrain::agent {

using proto::Outbox;  ///< towards the head

}  // namespace rtrain::agent
