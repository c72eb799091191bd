// An event loop that no handler ends, and one that ends with an answer or in time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <exception>
#include <optional>

namespace rtrain::async {

/// io.run(), again when a handler throws: `escaped` is told, what the handler belonged to is gone, and the
/// rest goes on. A daemon must not end because one connection met a fault of its own.
template <class Escaped>
void run_through(boost::asio::io_context& io, Escaped escaped) {
  for (;;) {
    try {
      io.run();
      return;
    } catch (...) {
      escaped(std::current_exception());
    }
  }
}

/// For a caller that waits: runs `io` until `done` has a value or the time is over. @return false: it is
/// over.
inline bool run_until(boost::asio::io_context& io, const std::optional<boost::system::error_code>& done,
                      std::chrono::steady_clock::time_point deadline) {
  while (!done) {
    if (io.stopped()) io.restart();
    if (io.run_one_until(deadline) == 0 && !done) return false;
  }
  return true;
}

}  // namespace rtrain::async
