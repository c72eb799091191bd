#pragma once

#include "daemon/head/jobs/output_gate.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>

namespace rtrain::head {

/// Waits until every event appended so far is durable: what was composed from them may be told then. False
/// after `limit`: the disk takes no writes.
boost::asio::awaitable<bool> async_durable(OutputGate& gate, std::chrono::milliseconds limit);

}  // namespace rtrain::head
