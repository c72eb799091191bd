#include "common/os/token.h"

#include "common/os/file.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <map>
#include <thread>
#include <vector>

#include <sys/stat.h>

namespace token_test {

using namespace rtrain;

namespace {

os::Getenv environment(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) -> const char* {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.c_str();
  };
}

unsigned mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

}  // namespace

TEST_CASE("token: the place is the user's own, wherever XDG_STATE_HOME and HOME say that it is", "[F21]") {
  CHECK(os::own_token_path(environment({{"XDG_STATE_HOME", "/state"}, {"HOME", "/home/ann"}})) ==
        "/state/rtrain/token");
  CHECK(os::own_token_path(environment({{"XDG_STATE_HOME", ""}, {"HOME", "/home/ann"}})) ==
        "/home/ann/.local/state/rtrain/token");
  // the user database knows the home directory
  CHECK(os::own_token_path(environment({})) != "/.local/state/rtrain/token");
}

TEST_CASE("token: it is made once, of 256 random bits, and read by its owner alone", "[F21]") {
  const test::TempDir folder;
  const std::string path = folder / "a/b/token", other = folder / "c/token";
  const auto token = os::read_or_make_token_file(path);
  REQUIRE(token.has_value());
  CHECK(token->size() == 64);
  CHECK(mode_of(path) == 0600);
  CHECK(mode_of(folder / "a/b") == 0700);
  CHECK(*os::read_or_make_token_file(path) == *token);
  CHECK(*os::read_or_make_token_file(other) != *token);
  CHECK(std::distance(std::filesystem::directory_iterator(folder / "a/b"), {}) == 1);  // no draft stays
}

TEST_CASE("token: programs that make it at the same time get the same one", "[F21]") {
  const test::TempDir folder;
  const std::string path = folder / "token";
  std::vector<std::string> got(8);
  std::vector<std::thread> programs;
  for (auto& mine : got) programs.emplace_back([&] { mine = os::read_or_make_token_file(path).value(); });
  for (auto& program : programs) program.join();
  for (const auto& mine : got) CHECK(mine == got.front());
}

TEST_CASE("token: a file that others can read is refused and not replaced", "[F21]") {
  const test::TempDir folder;
  const std::string path = folder / "token";
  const std::string token = "0123456789abcdef\n";
  REQUIRE(os::write_file_atomic(path, token, 0644).has_value());
  CHECK(os::read_or_make_token_file(path).error().code() == Errc::kUnauthenticated);
  CHECK(*os::read_file(path) == token);
}

TEST_CASE("token: what was shown is the token or is not", "[F21]") {
  CHECK(os::is_token("0123456789abcdef", "0123456789abcdef"));
  CHECK_FALSE(os::is_token("0123456789abcdef", "0123456789abcdeF"));
  CHECK_FALSE(os::is_token("0123456789abcdef", "0123456789abcde"));
  CHECK_FALSE(os::is_token("", "x"));
  CHECK_FALSE(os::is_token("abab", "ab"));
  CHECK_FALSE(os::is_token("", ""));  // a head without a token lets nobody in by one
  CHECK_FALSE(os::is_token("x", ""));
}

}  // namespace token_test
