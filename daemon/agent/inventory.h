// What this node has to offer.
#pragma once

#include "proto/config/config.h"
#include "proto/message/types.h"

namespace rtrain::agent {

/// CPUs this process may use, memory (the machine's, or its control group's limit), GPUs by NVML (loaded at
/// run time; none is fine), what the config says on top. `address` stays empty unless the config names it: it
/// is known when the head is reached. Versions: "rtrain", "os", "kernel", "cuda_driver".
[[nodiscard]] proto::NodeInfo take_inventory(const proto::AgentConfig& config);

/// The network interface that has `address` ("eth0"); "" when none has.
[[nodiscard]] std::string interface_of(const std::string& address);

}  // namespace rtrain::agent
