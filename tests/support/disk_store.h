// A store in a folder of its own, for tests: opened, closed and opened again on one thread.
#pragma once

#include "daemon/store/sqlite_store.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <boost/asio/io_context.hpp>

#include <memory>
#include <string>

namespace rtrain::test {

struct DiskStore {
  TempDir folder;
  std::string dir = folder.path().string();
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  std::unique_ptr<store::SqliteStore> store;

  DiskStore() { open(); }
  /// The next head's start.
  void open() {
    store.reset();
    auto opened = store::SqliteStore::open(io.get_executor(), {dir, 0, false});
    INFO((opened ? "" : opened.error().message()));
    REQUIRE(opened.has_value());
    store = std::move(*opened);
  }
  /// Until everything appended is durable.
  void settle() {
    while (!store->durable().covers(store->appended())) io.run_one();
  }
};

}  // namespace rtrain::test
