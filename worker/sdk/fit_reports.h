// The reports of a run on their way to on_report() of the program that called fit().
#pragma once

#include "proto/message/message.h"
#include "worker/sdk/launcher.h"

#include <rtrain/torch_trainer.h>

#include <sys/types.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace rtrain::sdk {

/// A report as a line of a file, and what on_report() gets of it.
[[nodiscard]] nlohmann::json report_line(const proto::RankReport& report);
[[nodiscard]] ReportedRow row_of(const nlohmann::json& line);

/// In the program that called fit(): reads what its workers tell, on a thread, until it is ended.
class ReportListener {
 public:
  explicit ReportListener(std::function<void(const ReportedRow&)> body);
  ~ReportListener();
  ReportListener(const ReportListener&) = delete;
  ReportListener& operator=(const ReportListener&) = delete;
  [[nodiscard]] std::string path() const { return file_.path(); }
  /// Reads the rest. @throws what `body` threw.
  void finish();

 private:
  void end();
  void run();
  void read();

  std::function<void(const ReportedRow&)> body_;
  UnnamedFile file_;
  off_t at_ = 0;
  std::string text_;
  std::exception_ptr failure_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace rtrain::sdk
