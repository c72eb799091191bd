#include "common/os/new_file.h"

#include "common/os/interruptible.h"
#include "common/os/open_file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <csignal>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace new_file_test {

using namespace rtrain;
using os::NewFile;
using os::OpenFile;

TEST_CASE("new_file: a file is there when it is committed, and nothing is there before", "[unit][common]") {
  const test::TempDir dir;
  const auto path = (dir / "f").string();
  {
    auto file = NewFile::create(path);
    REQUIRE(file.has_value());
    CHECK((*file)->write("half").has_value());
  }
  CHECK(std::filesystem::is_empty(dir.path()));
  auto file = NewFile::create(path);
  REQUIRE(file.has_value());
  CHECK((*file)->write("xxxx").has_value());
  CHECK((*file)->write(" and more").has_value());
  CHECK((*file)->overwrite(0, "this").has_value());
  CHECK((*file)->size() == 13);
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK((*file)->commit().has_value());
  const auto read = OpenFile::open(path);
  REQUIRE(read.has_value());
  CHECK(*(*read)->text(0, 13) == "this and more");
  CHECK(NewFile::create((dir / "no/such/f").string()).has_error());
}

TEST_CASE("new_file: what a killed process of the same number left is no obstacle", "[unit][common]") {
  const test::TempDir dir;
  const auto path = (dir / "f").string();
  const auto left = path + ".tmp-" + std::to_string(::getpid()) + "-";
  for (int number = 0; number < 100; ++number) std::ofstream(left + std::to_string(number)) << "left";
  auto file = NewFile::create(path);
  REQUIRE(file.has_value());
  CHECK((*file)->commit().has_value());
  CHECK(std::filesystem::file_size(path) == 0);
  CHECK(std::filesystem::exists(left + "99"));
}

TEST_CASE("open_file: what is not there is an error", "[unit][common]") {
  const test::TempDir dir;
  CHECK(OpenFile::open((dir / "none").string()).error().code() == Errc::kNotFound);
  CHECK(OpenFile::open(dir.path().string()).error().message().find("not a regular file") !=
        std::string::npos);
  std::ofstream(dir / "f") << "12345";
  const auto file = OpenFile::open((dir / "f").string());
  REQUIRE(file.has_value());
  CHECK((*file)->size() == 5);
  CHECK(*(*file)->text(1, 3) == "234");
  CHECK((*file)->text(3, 3).has_error());
  CHECK((*file)->text(UINT64_MAX, 1).has_error());
  CHECK((*file)->text(1, UINT64_MAX).has_error());
  std::filesystem::resize_file(dir / "f", 2);
  CHECK((*file)->text(0, 5).error().message().find("got shorter") != std::string::npos);
}

TEST_CASE("new_file: a file that took the name meanwhile is left alone", "[unit][common]") {
  const test::TempDir dir;
  const auto path = (dir / "f").string();
  {
    auto file = NewFile::create(path);
    REQUIRE(file.has_value());
    CHECK((*file)->write("new").has_value());
    std::ofstream(path) << "another's";
    CHECK((*file)->commit().error().code() == Errc::kConflict);
  }
  CHECK(std::filesystem::file_size(path) == 9);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("interruptible: after a signal nothing more is read or written", "[unit][common]") {
  const test::TempDir dir;
  std::ofstream(dir / "in") << "12345";
  const auto in = OpenFile::open((dir / "in").string());
  REQUIRE(in.has_value());
  {
    const os::Interruptible interruptible;
    auto out = NewFile::create((dir / "out").string());
    REQUIRE(out.has_value());
    CHECK((*out)->write("half").has_value());
    CHECK(os::Interruptible::signal() == 0);
    ::raise(SIGTERM);
    ::raise(SIGINT);
    CHECK(os::Interruptible::signal() == SIGTERM);
    CHECK((*out)->write("more").error().message().ends_with("interrupted"));
    CHECK((*in)->text(0, 5).error().message().ends_with("interrupted"));
  }
  CHECK(os::Interruptible::signal() == 0);
  CHECK((*in)->text(0, 5).has_value());
  CHECK_FALSE(std::filesystem::exists(dir / "out"));
}

}  // namespace new_file_test
