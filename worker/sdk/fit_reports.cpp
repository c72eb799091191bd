#include "worker/sdk/fit_reports.h"

#include "worker/runtime/run_record.h"
#include "worker/sdk/fit_call.h"

#include <unistd.h>

#include <chrono>
#include <utility>

namespace rtrain::sdk {
namespace {

constexpr std::chrono::milliseconds kLook{50};

}  // namespace

nlohmann::json report_line(const proto::RankReport& report) {
  return {{"attempt", report.key.attempt.value()},
          {"report", report.seq},
          {"metrics", report.metrics},
          {"checkpoint", report.checkpoint ? nlohmann::json(report.checkpoint->path) : nlohmann::json()}};
}

ReportedRow row_of(const nlohmann::json& line) {
  ReportedRow row{line.at("attempt").get<int>(), line.at("report").get<std::int64_t>(),
                  runtime::with_numbers(line.at("metrics")), std::nullopt};
  if (line.at("checkpoint").is_string()) row.checkpoint.emplace(line.at("checkpoint").get<std::string>());
  return row;
}

ReportListener::ReportListener(std::function<void(const ReportedRow&)> body)
    : body_(std::move(body)), file_("reports.jsonl", ""), thread_([this] { run(); }) {}

ReportListener::~ReportListener() { end(); }

void ReportListener::finish() {
  end();
  if (failure_) std::rethrow_exception(failure_);
}

void ReportListener::end() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ReportListener::run() {
  for (bool last = false; !last;) {
    {
      std::unique_lock lock(mutex_);
      last = wake_.wait_for(lock, kLook, [&] { return ended_; });
    }
    try {
      read();
    } catch (...) {
      failure_ = std::current_exception();
      return;
    }
  }
}

void ReportListener::read() {
  for (char chunk[8192];;) {
    const auto got = ::pread(file_.fd(), chunk, sizeof chunk, at_);
    if (got <= 0) break;
    at_ += got;
    text_.append(chunk, static_cast<std::size_t>(got));
  }
  for (auto end = text_.find('\n'); end != std::string::npos; end = text_.find('\n')) {
    const auto line = proto::parse_json(text_.substr(0, end), {.bytes_max = kFitResultsBytesMax});
    text_.erase(0, end + 1);
    if (line) body_(row_of(*line));
  }
}

}  // namespace rtrain::sdk
