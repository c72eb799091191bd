#include "worker/sdk/fit_call.h"

#include "common/os/file.h"
#include "proto/json.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace rtrain::sdk {
namespace {

constexpr const char* kCallVariable = "RTRAIN_FIT_CALL";
constexpr const char* kResultsVariable = "RTRAIN_FIT_RESULTS_FILE";  // a file: one variable holds 128 KiB
constexpr const char* kToldVariable = "RTRAIN_FIT_REPORTS_FILE";     // a file that rank 0 appends to

struct Calls {
  int made = 0;
  nlohmann::json results = nlohmann::json::array();
};
Calls& calls() {
  static Calls all;
  return all;
}

}  // namespace

FitCall::FitCall(std::string who) : who_(std::move(who)), number_(calls().made++) {}

bool FitCall::is_wanted() const {
  const char* number = std::getenv(kCallVariable);
  return number_ == (number != nullptr ? std::atoi(number) : 0);
}

nlohmann::json FitCall::earlier_result() const {
  nlohmann::json results = nlohmann::json::array();
  if (const char* file = std::getenv(kResultsVariable); file != nullptr) {
    const auto fail = [&](const std::string& why) {
      throw std::runtime_error(who_ + ": the results of earlier calls of fit(): " + why);
    };
    const auto text = os::read_file(file, kFitResultsBytesMax);
    if (!text) fail(text.error().message());
    auto read = proto::parse_json(*text, {.bytes_max = kFitResultsBytesMax, .depth_max = 128});
    if (!read) fail(read.error().message());
    results = std::move(*read);
  }
  if (!results.is_array() || std::cmp_greater_equal(number_, results.size()))
    throw std::runtime_error(who_ +
                             ": fit() was called in another order in a worker than in the program itself");
  return results[static_cast<std::size_t>(number_)];
}

std::vector<std::string> FitCall::variables(const std::string& told) {
  results_.emplace("results.json", proto::dump_json(calls().results));
  return {std::string(kCallVariable) + "=" + std::to_string(number_),
          std::string(kResultsVariable) + "=" + results_->path(), std::string(kToldVariable) + "=" + told};
}

void FitCall::gave(nlohmann::json result) { calls().results.push_back(std::move(result)); }

std::vector<std::string> own_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> command;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\0', begin), text.size());
    command.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (command.empty()) throw std::runtime_error("/proc/self/cmdline is empty: is /proc mounted?");
  command[0] = std::filesystem::read_symlink("/proc/self/exe").string();
  return command;
}

std::string told_file() {
  const char* file = std::getenv(kToldVariable);
  return file != nullptr ? file : "";
}

void tell(const std::string& file, const nlohmann::json& line) {
  const auto text = proto::dump_json(line) + "\n";
  const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const auto written = ::write(fd, text.data(), text.size());
  ::close(fd);
}

}  // namespace rtrain::sdk
