// Who may include whom, and a few words that may stand in few places. Reads the source tree; compiles nothing
// of it.
#include "tests/support/catch.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace layering_test {

namespace fs = std::filesystem;

namespace {

/// A layer is a folder; the longest match counts. It may include itself and what stands beside it.
const std::map<std::string, std::vector<std::string>> kMayInclude{
    {"common/base", {}},
    {"common", {"common"}},
    {"proto", {"common"}},
    {"daemon/core", {"proto", "common/base"}},
    {"daemon/store", {"daemon/core", "proto", "common"}},
    {"daemon/head", {"daemon/store", "daemon/core", "proto", "common"}},
    {"daemon/head/api", {"daemon/head", "daemon/store", "daemon/core", "proto", "common"}},
    {"daemon/head/jobs", {"daemon/head", "daemon/store", "daemon/core", "proto", "common"}},
    {"daemon/head/nodes", {"daemon/head", "daemon/store", "daemon/core", "proto", "common"}},
    {"daemon/head/attempts", {"daemon/head", "daemon/store", "daemon/core", "proto", "common"}},
    {"daemon/head/scheduling", {"daemon/head", "daemon/store", "daemon/core", "proto", "common"}},
    {"daemon/head/sweeps", {"daemon/head", "daemon/store", "daemon/core", "proto", "common"}},
    {"daemon/head/net", {"common"}},
    {"daemon/agent", {"daemon/core", "proto", "common"}},
    {"daemon/embedded", {"daemon/head", "daemon/agent", "daemon/core", "proto", "common"}},
    {"daemon", {"daemon", "proto", "common"}},  // main.cpp: one program, two roles
    // `rtrain sweep plan` runs the fold of a sweep, which is pure.
    {"cli", {"daemon/embedded", "daemon/core/sweep", "proto", "common"}},
    {"worker/supervision", {"proto", "common"}},
    {"worker/runtime", {"proto", "common"}},
    {"worker/include", {"common/base", "proto"}},
    // The rooms of the worker (docs/rfcs/0004-step-engine.md): only the Trainer and what starts ranks see
    // all.
    {"worker/optim", {"worker/include", "worker/runtime"}},
    {"worker/schedulers", {"worker/include", "worker/runtime"}},
    {"worker/precision", {"worker/include"}},
    {"worker/metrics", {"worker/include", "worker/run", "worker/runtime"}},
    {"worker/models", {"worker/include"}},
    {"worker/data", {"worker/include"}},
    {"worker/checkpoint", {"worker/include", "worker/runtime", "proto/tensors", "common/base", "common/os"}},
    {"worker/comm", {"worker/include", "worker/runtime"}},
    {"worker/strategies",
     {"worker/comm", "worker/optim", "worker/checkpoint", "worker/runtime", "worker/include"}},
    {"worker/sharding",
     {"worker/strategies", "worker/optim", "worker/checkpoint", "worker/runtime", "worker/include"}},
    {"worker/parallel", {"worker/sharding", "worker/strategies", "worker/checkpoint", "worker/include"}},
    {"worker/run", {"worker/runtime", "worker/include", "common/base"}},
    {"worker/step", {"worker/run", "worker/runtime", "worker/optim", "worker/include"}},
    {"worker/loops", {"worker/step", "worker/run", "worker/runtime", "worker/include", "common/base"}},
    {"worker/loggers", {"worker/runtime", "worker/include", "common/async", "common/base", "common/os"}},
    {"worker/profilers", {"worker/include"}},
    {"worker/callbacks", {"worker/run", "worker/runtime", "worker/sdk", "worker/include", "common/base"}},
    {"worker", {"worker", "proto", "common"}},
};

/// The pure core decides; it does not wait, read or write. proto/ headers that carry I/O are closed to it.
const std::map<std::string, std::vector<std::string>> kMayNotInclude{
    {"daemon/core", {"proto/frame/wire.h", "proto/frame/blocking.h", "proto/api/", "proto/tensors/"}},
    // A controller of the head knows neither who asks nor who hands it its actions.
    {"daemon/head/jobs", {"daemon/head/api/", "daemon/head/dispatcher.h", "daemon/head/controllers.h"}},
    {"daemon/head/nodes", {"daemon/head/api/", "daemon/head/dispatcher.h", "daemon/head/controllers.h"}},
    {"daemon/head/attempts", {"daemon/head/api/", "daemon/head/dispatcher.h", "daemon/head/controllers.h"}},
    {"daemon/head/scheduling", {"daemon/head/api/", "daemon/head/dispatcher.h", "daemon/head/controllers.h"}},
    {"daemon/head/sweeps", {"daemon/head/api/", "daemon/head/dispatcher.h", "daemon/head/controllers.h"}},
};

struct SourceFile {
  std::string path;  // from the root of the tree
  std::string text;
  std::vector<std::string> includes;
};

const std::vector<SourceFile>& sources() {
  static const std::vector<SourceFile> files = [] {
    std::vector<SourceFile> found;
    const fs::path root = RTRAIN_SOURCE_DIR;
    const std::regex include(R"re(^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">])re", std::regex::multiline);
    for (const char* top :
         {"common", "proto", "daemon", "cli", "worker", "examples", "tests/unit", "tests/support"}) {
      if (!fs::exists(root / top)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
        const auto extension = entry.path().extension();
        if (extension != ".h" && extension != ".cpp") continue;
        std::ostringstream text;
        text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        SourceFile file{fs::relative(entry.path(), root).string(), text.str(), {}};
        for (auto it = std::sregex_iterator(file.text.begin(), file.text.end(), include);
             it != std::sregex_iterator(); ++it)
          file.includes.push_back((*it)[1].str());
        found.push_back(std::move(file));
      }
    }
    return found;
  }();
  return files;
}

bool is_under(const std::string& path, const std::string& folder) {
  return path == folder || path.starts_with(folder + "/");
}

std::string layer_of(const std::string& path) {
  std::string layer;
  for (const auto& [name, allowed] : kMayInclude)
    if (is_under(path, name) && name.size() > layer.size()) layer = name;
  return layer;
}

/// Where an include of the tree points to; "" for the system and other libraries. <rtrain/...> is the SDK.
std::string target_of(const std::string& include) {
  if (include.starts_with("rtrain/")) return "worker/include/" + include;
  static const std::set<std::string> kTops{"common", "proto", "daemon", "cli", "worker", "tests"};
  return kTops.contains(include.substr(0, include.find('/'))) ? include : "";
}

/// The text without comments: a rule is about code.
std::string code_of(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "//") == 0) {
      i = text.find('\n', i);
      if (i == std::string::npos) break;
    } else if (text.compare(i, 2, "/*") == 0) {
      i = text.find("*/", i + 2);
      if (i == std::string::npos) break;
      ++i;
      continue;
    }
    out += text[i];
  }
  return out;
}

/// The files under `folders` whose code says `word`, but for those under `except`.
std::vector<std::string> who_says(const std::string& word, const std::vector<std::string>& folders,
                                  const std::vector<std::string>& except) {
  const auto in = [](const std::string& path, const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(),
                       [&](const std::string& folder) { return is_under(path, folder); });
  };
  std::vector<std::string> found;
  for (const auto& file : sources())
    if (in(file.path, folders) && !in(file.path, except) &&
        code_of(file.text).find(word) != std::string::npos)
      found.push_back(file.path);
  return found;
}

const std::vector<std::string> kAllCode{"common", "proto", "daemon", "cli", "worker", "examples"};
const std::vector<std::string> kNone;
// The words are cut in two so that this file does not say them.
const std::string kSleep = std::string("sleep") + "_for", kClock = std::string("system_clock") + "::now";

}  // namespace

TEST_CASE("layers: an include points down the table, never up or aside") {
  REQUIRE(sources().size() > 40);
  for (const auto& file : sources()) {
    const std::string layer = layer_of(file.path);
    if (layer.empty()) continue;  // tests and examples see all
    for (const auto& include : file.includes) {
      const std::string target = target_of(include);
      if (target.empty()) continue;
      const auto& allowed = kMayInclude.at(layer);
      const bool fine =
          is_under(target, layer) || std::any_of(allowed.begin(), allowed.end(),
                                                 [&](const std::string& a) { return is_under(target, a); });
      INFO(file.path << " includes " << include);
      CHECK(fine);
      if (const auto closed = kMayNotInclude.find(layer); closed != kMayNotInclude.end())
        for (const auto& name : closed->second) CHECK_FALSE(target.starts_with(name));
    }
  }
}

TEST_CASE("layers: only the worker sees LibTorch, only comm and DDP see c10d") {
  for (const auto& file : sources()) {
    const bool test = is_under(file.path, "tests");
    for (const auto& include : file.includes) {
      INFO(file.path << " includes " << include);
      const bool torch =
          include.starts_with("torch/") || include.starts_with("ATen/") || include.starts_with("c10/");
      if (torch && !test) CHECK((is_under(file.path, "worker") || is_under(file.path, "examples")));
      if (torch) CHECK_FALSE(is_under(file.path, "worker/runtime"));
      if (torch) CHECK_FALSE(is_under(file.path, "worker/supervision"));
    }
  }
  // The public header names the type that DDP's Reducer takes.
  CHECK(who_says("c10d", kAllCode,
                 {"worker/comm", "worker/strategies/ddp.cpp", "worker/strategies/comm_hooks.h",
                  "worker/strategies/comm_hooks.cpp", "worker/strategies/power_sgd.cpp",
                  "worker/strategies/reduction.h", "worker/strategies/reduction.cpp",
                  "worker/include/rtrain/communicator.h"}) == kNone);
}

TEST_CASE("layers: only a plan steps an optimizer") {
  CHECK(who_says("optimizer.step(", {"worker"}, {"worker/strategies", "worker/sharding"}) == kNone);
  CHECK(who_says("optimizer->step(", {"worker"}, kNone) == kNone);
}

TEST_CASE("layers: the core is pure") {
  for (const auto& file : sources()) {
    if (!is_under(file.path, "daemon/core")) continue;
    for (const auto& include : file.includes) {
      INFO(file.path << " includes " << include);
      for (const char* closed : {"boost/asio", "boost/beast", "chrono", "fstream", "filesystem", "thread",
                                 "random", "unistd.h", "sys/", "spdlog"})
        CHECK_FALSE(include.starts_with(closed));
    }
  }
}

TEST_CASE("layers: coroutines have an owner, JSON text has one door") {
  CHECK(who_says("asio::detached", kAllCode, {"common/async"}) == kNone);
  // A safetensors header has limits of its own and holds no numbers that JSON lacks.
  const std::vector<std::string> doors{"proto/json.cpp", "proto/tensors/safetensors_header.cpp"};
  for (const char* call : {"son::parse(", ".dump("}) CHECK(who_says(call, kAllCode, doors) == kNone);
}

TEST_CASE("layers: the core and the unit tests neither sleep nor ask for the time") {
  CHECK(who_says(kSleep, {"daemon/core", "tests/unit"}, kNone) == kNone);
  CHECK(who_says(kClock, {"daemon/core", "tests/unit"}, kNone) == kNone);
  CHECK(who_says(kClock, kAllCode, {"common"}) == kNone);
}

}  // namespace layering_test
