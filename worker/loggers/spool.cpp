#include "worker/loggers/spool.h"

#include "worker/runtime/json.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace rtrain::loggers {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const std::string& what) {
  throw std::runtime_error("MLFlowLogger: " + file.string() + ": " + what);
}

}  // namespace

Spool::Spool(std::filesystem::path file) : file_(std::move(file)) {
  std::error_code ec;
  empty_ = !std::filesystem::exists(file_, ec);
}

MLFlowRun Spool::run() const {
  std::ifstream in(file_, std::ios::binary);
  std::string line;
  if (!std::getline(in, line)) fail(file_, in.bad() || errno != 0 ? std::strerror(errno) : "it is empty");
  const auto json = runtime::parse_json(line);
  if (!json) fail(file_, "the first line is not JSON");
  try {
    return MLFlowRun::from_json(*json);
  } catch (const std::runtime_error& error) {
    fail(file_, error.what());
  }
}

void Spool::append(const MLFlowRun& run, const std::vector<MLFlowRequest>& requests) {
  if (requests.empty()) return;
  std::string text;
  if (empty_) text = runtime::dump_json(run.json()) + "\n";
  for (const auto& request : requests)
    text += runtime::dump_json({{"path", request.path}, {"body", request.body}}) + "\n";
  std::error_code ec;
  if (!file_.parent_path().empty()) std::filesystem::create_directories(file_.parent_path(), ec);
  std::ofstream out(file_, std::ios::binary | std::ios::app);
  out << text;
  out.close();
  if (!out) fail(file_, std::strerror(errno));
  empty_ = false;
}

std::optional<MLFlowRequest> Spool::next() {
  std::ifstream in(file_, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(at_));
  std::string line;
  const auto whole_line = [&] { return std::getline(in, line) && !in.eof(); };
  if (at_ == 0) {  // the run
    if (!whole_line()) return std::nullopt;
    at_ = line.size() + 1;
  }
  if (!whole_line()) return std::nullopt;
  const auto json = runtime::parse_json(line);
  if (!json || !json->contains("path") || !json->contains("body")) return std::nullopt;
  after_next_ = at_ + line.size() + 1;
  return MLFlowRequest{json->at("path").get<std::string>(), json->at("body")};
}

void Spool::done() { at_ = after_next_; }

void Spool::remove() {
  std::error_code ec;
  std::filesystem::remove(file_, ec);
  if (ec) fail(file_, ec.message());
  empty_ = true;
  at_ = after_next_ = 0;
}

}  // namespace rtrain::loggers
