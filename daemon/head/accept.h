// The next connection of a listener, whatever happens to the process meanwhile.
#pragma once

#include "common/net/endpoint.h"

#include <optional>
#include <string>

namespace rtrain::head {

/// Nothing once `stopping` is set and the listener closed. Out of file descriptors: says so once and tries again, so that those who
/// are connected are served on and the next to leave makes room.
/// @lifetime both references outlive the call; the caller's members.
net::asio::awaitable<std::optional<net::Socket>> async_next(net::Listener& listener, const bool& stopping, std::string what);

}  // namespace rtrain::head
