// The thread that sends a run's requests in order, and keeps them in a file while the server is away.
#pragma once

#include "worker/loggers/mlflow_client.h"
#include "worker/loggers/spool.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace rtrain::loggers {

class MLFlowSender {
 public:
  using Warn = std::function<void(const std::string&)>;
  using OnRun = std::function<void(const std::string& run_id)>;
  /// Starts the thread with the first request. @param warn, on_run called on the thread; on_run when the
  /// server has given the run its id.
  MLFlowSender(MLFlowClient client, MLFlowRun run, std::filesystem::path spool, Warn warn, OnRun on_run);
  /// What is left goes to the spool.
  ~MLFlowSender();
  MLFlowSender(const MLFlowSender&) = delete;
  MLFlowSender& operator=(const MLFlowSender&) = delete;

  /// Never waits for the server. Metrics join a request that waits, if it has room for them.
  void add(MLFlowRequest request);
  /// Waits until all is sent, or one more try has failed, or the time is over. @return true: all is sent.
  bool flush(std::chrono::milliseconds timeout);
  [[nodiscard]] std::string run_id() const;
  [[nodiscard]] std::filesystem::path spool_file() const;  ///< "": nothing waits in it
  [[nodiscard]] const std::filesystem::path& spool_path() const { return spool_path_; }  ///< in any case

 private:
  void loop();
  void work(std::vector<MLFlowRequest> requests, bool last);
  /// False: the server is away.
  bool send(const MLFlowRequest& request);
  bool send_spooled();
  void now_away(const std::string& cause);

  MLFlowClient client_;
  MLFlowRun run_;  ///< of the thread
  Spool spool_;    ///< of the thread
  Warn warn_;
  OnRun on_run_;
  bool warned_ = false;
  std::uint64_t refused_ = 0;
  std::chrono::milliseconds back_off_{0};
  std::chrono::steady_clock::time_point next_try_{};

  const std::filesystem::path spool_path_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<MLFlowRequest> waiting_;
  std::string run_id_;
  std::string spool_name_;
  bool working_ = false, ending_ = false, try_now_ = false;
  std::int64_t failed_tries_ = 0;
  std::thread thread_;
};

}  // namespace rtrain::loggers
