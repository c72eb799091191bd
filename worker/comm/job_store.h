// The key-value store of a job: rank 0 serves it, and all ranks use it.
#pragma once

#include "worker/runtime/key_value_store.h"

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <memory>
#include <string>

namespace c10d {
class Store;
}  // namespace c10d

namespace rtrain::comm {

/// Formats a duration: "1.5 s".
[[nodiscard]] std::string seconds(std::chrono::milliseconds duration);

/// Rank 0 serves the store; the other ranks wait for it and connect.
/// @throws std::runtime_error if rank 0 is not reachable within `timeout`: names its address and the option.
[[nodiscard]] c10::intrusive_ptr<c10d::Store> open_store(int rank, const std::string& host, int port,
                                                         std::chrono::milliseconds timeout);
/// Adapts c10d's store to the runtime's interface, with a prefix of its own. @thread any, like c10d's store.
[[nodiscard]] std::unique_ptr<runtime::KeyValueStore> runtime_store(c10::intrusive_ptr<c10d::Store> store);
/// Opens a separate connection, for threads other than the training thread. @throws std::runtime_error
[[nodiscard]] std::unique_ptr<runtime::KeyValueStore> connect_store(const std::string& host, int port,
                                                                    std::chrono::milliseconds timeout);

}  // namespace rtrain::comm
