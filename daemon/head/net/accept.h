// The next connection of a listener, whatever happens to the process meanwhile.
#pragma once

#include "common/net/endpoint.h"
#include "daemon/head/net/connections.h"

#include <optional>
#include <string>

namespace rtrain::head {

/// Waits while the head is full of strangers who are new: to be admitted at once, before anybody else runs.
/// Nothing once `stopping` is set and the listener closed. Out of file descriptors: says so once; who is
/// connected is served on, one that is of no use to anybody makes room, and where there is none those who
/// wait are told no by a closed connection.
/// @lifetime the references outlive the call; the caller's members.
net::asio::awaitable<std::optional<net::Socket>> async_next(net::Listener& listener, Connections& connections,
                                                            Connections::Kind kind, const bool& stopping);

}  // namespace rtrain::head
