// The key-value store that rank 0 of a job serves and all ranks read and write.
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

/// "1.5 s"
[[nodiscard]] std::string seconds(std::chrono::milliseconds duration);

/// Rank 0 serves, the others wait for it and connect.
/// @throws std::runtime_error rank 0 is not there within `timeout`: names its address and the option.
[[nodiscard]] c10::intrusive_ptr<c10d::Store> open_store(int rank, const std::string& host, int port,
                                                         std::chrono::milliseconds timeout);
/// c10d's store as the runtime wants it, under keys of its own. @thread as c10d's store: any.
[[nodiscard]] std::unique_ptr<runtime::KeyValueStore> runtime_store(c10::intrusive_ptr<c10d::Store> store);
/// A connection of its own, for other threads than the training thread's. @throws std::runtime_error
[[nodiscard]] std::unique_ptr<runtime::KeyValueStore> connect_store(const std::string& host, int port,
                                                                    std::chrono::milliseconds timeout);

}  // namespace rtrain::comm
