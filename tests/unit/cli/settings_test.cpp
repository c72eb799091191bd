#include "cli/settings.h"

#include "common/os/file.h"
#include "common/os/token.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <map>

namespace settings_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

/// What `rtrain nodes` makes of its flags and its environment.
struct Setting {
  test::TempDir home;
  std::map<std::string, std::string> variables{{"HOME", home.path()}};
  Arguments args;

  [[nodiscard]] Getenv getenv() const {
    return [this](const char* name) -> const char* {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    };
  }
  [[nodiscard]] Result<Client> client() const {
    const Console console(ColourChoice::kNever, getenv());
    return client_of(Call{*find_verb("nodes"), args, "table", console, getenv()});
  }
};

const proto::ErrorDoc kNoToken{"unauthenticated",
                               "the request has no token",
                               "the head's log names the file of its token at the start",
                               {}};

}  // namespace

TEST_CASE("settings: the head is where the flag, RTRAIN_API, RTRAIN_HEAD or the file says") {
  Setting s;
  CHECK(settings(s.args, s.getenv())->head == "127.0.0.1:7338");
  s.variables["RTRAIN_HEAD"] = "a:1";
  CHECK(settings(s.args, s.getenv())->head == "a:1");
  s.variables["RTRAIN_API"] = "b:2";
  CHECK(settings(s.args, s.getenv())->head == "b:2");
  s.args.values["head"] = {"c:3"};
  CHECK(settings(s.args, s.getenv())->head == "c:3");
}

TEST_CASE("settings: an address may lack its port, and may be written as a URL") {
  const auto shown = [](const char* text) { return net::to_string(parse_head(text).value()); };
  CHECK(shown("gpu-head") == "gpu-head:7338");
  CHECK(shown("[::1]") == "[::1]:7338");
  CHECK(shown("http://gpu-head:80/") == "gpu-head:80");
  CHECK(shown("http://gpu-head") == "gpu-head:7338");
  CHECK(shown("unix:/run/api") == "unix:/run/api");
  CHECK_THAT(parse_head("https://gpu-head").error().message(), Catch::Matchers::Contains("without TLS"));
  CHECK_THAT(parse_head("ftp://gpu-head").error().message(), Catch::Matchers::Contains("not a URL"));
  CHECK(parse_head("").has_error());
}

TEST_CASE("settings: a head on this machine is shown the user's own token without a flag", "[F21]") {
  Setting s;
  const auto token = os::read_or_make_token_file(os::own_token_path(s.getenv())).value();
  CHECK(s.client()->token() == token);
  for (const char* elsewhere : {"gpu-head:7338", "10.0.0.1", "unix:/run/api"}) {  // it stays on this machine
    s.variables["RTRAIN_HEAD"] = elsewhere;
    CHECK(s.client()->token().empty());
  }
}

TEST_CASE("settings: a refusal says which token was presented, or where none was found", "[F21]") {
  Setting s;
  const auto hint = [&] { return s.client()->error_of(401, proto::dump_json(proto::Json(kNoToken))).hint(); };
  const auto path = os::own_token_path(s.getenv());
  CHECK_THAT(hint(), Catch::Matchers::StartsWith("rtrain presented no token: " + path +
                                                 ": no such file; the head's log"));
  REQUIRE(os::read_or_make_token_file(path).has_value());
  CHECK_THAT(hint(), Catch::Matchers::StartsWith("rtrain presented the token of " + path + "; "));
  s.variables["RTRAIN_HEAD"] = "gpu-head";
  CHECK_THAT(hint(), Catch::Matchers::Contains("is for heads on this machine"));
  REQUIRE(os::write_file_atomic(s.home / "mine", "0123456789abcdef\n", 0600).has_value());
  s.variables["RTRAIN_TOKEN_FILE"] = s.home / "mine";
  CHECK(s.client()->token() == "0123456789abcdef");
  s.variables["RTRAIN_TOKEN_FILE"] = s.home / "none";
  CHECK(s.client().error().code() == Errc::kNotFound);
}

}  // namespace settings_test
