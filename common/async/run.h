// An event loop that no handler ends.
#pragma once

#include <boost/asio/io_context.hpp>

#include <exception>

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

}  // namespace rtrain::async
