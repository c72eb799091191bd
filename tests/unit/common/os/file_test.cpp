#include "common/os/file.h"
#include "tests/support/catch.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace file_test {

using namespace rtrain;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("rtrain-file-test-" + os::random_hex(6));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  [[nodiscard]] std::string file(const std::string& name) const { return (path / name).string(); }
};

void write(const std::string& path, std::string_view text, unsigned mode = 0600) {
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
}

}  // namespace

TEST_CASE("file: an atomic write replaces the content and leaves nothing beside it") {
  const Folder folder;
  REQUIRE(os::write_file_atomic(folder.file("a"), "one").has_value());
  REQUIRE(os::write_file_atomic(folder.file("a"), "two").has_value());
  CHECK(*os::read_file(folder.file("a")) == "two");
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1);
}

TEST_CASE("file: errors name the file and tell missing from too large") {
  const Folder folder;
  const auto missing = os::read_file(folder.file("none"));
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code() == Errc::kNotFound);
  CHECK(missing.error().message() == folder.file("none") + ": no such file");
  write(folder.file("big"), std::string(100, 'x'));
  CHECK(os::read_file(folder.file("big"), 99).error().code() == Errc::kLimit);
  CHECK(os::read_file(folder.file("big"), 100).has_value());
  CHECK(os::write_file_atomic(folder.file("no/such/folder"), "x").error().code() == Errc::kIo);
}

TEST_CASE("file: folders are made with their parents, a file in the way is an error") {
  const Folder folder;
  REQUIRE(os::make_dirs(folder.file("a/b/c")).has_value());
  REQUIRE(os::make_dirs(folder.file("a/b/c")).has_value());
  CHECK(fs::is_directory(folder.file("a/b/c")));
  write(folder.file("f"), "");
  CHECK_FALSE(os::make_dirs(folder.file("f")).has_value());
  CHECK_FALSE(os::make_dirs(folder.file("f/g")).has_value());
  CHECK_FALSE(os::make_dirs("").has_value());
}

TEST_CASE("file: a token is one line of at least 16 characters in a file that only its owner reads") {
  const Folder folder;
  write(folder.file("good"), "0123456789abcdef\n");
  CHECK(*os::read_token_file(folder.file("good")) == "0123456789abcdef");
  write(folder.file("open"), "0123456789abcdef\n", 0640);
  CHECK(os::read_token_file(folder.file("open")).error().code() == Errc::kUnauthenticated);
  write(folder.file("short"), "0123456789\n");
  CHECK(os::read_token_file(folder.file("short")).error().code() == Errc::kUnauthenticated);
  write(folder.file("lines"), "0123456789abcdef\n0123456789abcdef\n");
  CHECK(os::read_token_file(folder.file("lines")).error().code() == Errc::kUnauthenticated);
  CHECK(os::read_token_file(folder.file("none")).error().code() == Errc::kNotFound);
}

TEST_CASE("file: the tail of a log is its last whole lines") {
  const Folder folder;
  const auto path = folder.file("log");
  CHECK(os::tail_lines(path, 3).empty());
  write(path, "");
  CHECK(os::tail_lines(path, 3).empty());
  write(path, "a\nb\nc\nd");
  CHECK(os::tail_lines(path, 3) == std::vector<std::string>{"b", "c", "d"});
  CHECK(os::tail_lines(path, 99) == std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(os::tail_lines(path, 0).empty());
  write(path, "first line that is cut\nsecond\nthird\n");
  CHECK(os::tail_lines(path, 9, 16) == std::vector<std::string>{"second", "third"});
  write(path, std::string(100, 'x'));
  CHECK(os::tail_lines(path, 9, 16) == std::vector<std::string>{std::string(16, 'x')});
  write(path, "epoch 1\n 10%\r 50%\r100%\r\n\r 1%\r 2%");
  CHECK(os::tail_lines(path, 9) == std::vector<std::string>{"epoch 1", "100%", " 2%"});
}

TEST_CASE("file: random hex has the length asked for and does not repeat") {
  CHECK(os::random_hex(0).empty());
  CHECK(os::random_hex(8).size() == 16);
  CHECK(os::random_hex(16) != os::random_hex(16));
}

}  // namespace file_test
