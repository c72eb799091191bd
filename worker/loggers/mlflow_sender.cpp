#include "worker/loggers/mlflow_sender.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace rtrain::loggers {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMetricsMax = 1000;  ///< of MLflow, in one request
constexpr std::chrono::milliseconds kFirstBackOff{500}, kLastBackOff{30000};

bool only_metrics(const MLFlowRequest& request) {
  return request.path == "runs/log-batch" && request.body.size() == 1 && request.body.contains("metrics");
}

}  // namespace

MLFlowSender::MLFlowSender(MLFlowClient client, MLFlowRun run, std::filesystem::path spool, Warn warn,
                           OnRun on_run)
    : client_(std::move(client)),
      run_(std::move(run)),
      spool_(std::move(spool)),
      warn_(std::move(warn)),
      on_run_(std::move(on_run)),
      spool_path_(spool_.file()),
      run_id_(run_.run_id),
      spool_name_(spool_.empty() ? "" : spool_.file().string()) {}

MLFlowSender::~MLFlowSender() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void MLFlowSender::add(MLFlowRequest request) {
  {
    const std::lock_guard lock(mutex_);
    if (!waiting_.empty() && only_metrics(request) && only_metrics(waiting_.back()) &&
        waiting_.back().body["metrics"].size() + request.body["metrics"].size() <= kMetricsMax) {
      auto& metrics = waiting_.back().body["metrics"];
      for (auto& metric : request.body["metrics"]) metrics.push_back(std::move(metric));
    } else {
      waiting_.push_back(std::move(request));
    }
    if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  }
  changed_.notify_all();
}

bool MLFlowSender::flush(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto sent = [this] { return waiting_.empty() && !working_ && spool_name_.empty(); };
  if (sent() || !thread_.joinable()) return sent();
  try_now_ = true;
  changed_.notify_all();
  const auto failures = failed_tries_;
  changed_.wait_for(lock, timeout, [&] { return sent() || (failed_tries_ > failures && !working_); });
  return sent();
}

std::string MLFlowSender::run_id() const {
  const std::lock_guard lock(mutex_);
  return run_id_;
}

std::filesystem::path MLFlowSender::spool_file() const {
  const std::lock_guard lock(mutex_);
  return spool_name_;
}

void MLFlowSender::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto due = [this] { return ending_ || try_now_ || !waiting_.empty(); };
    if (spool_.empty())
      changed_.wait(lock, due);
    else
      changed_.wait_until(lock, next_try_, due);
    const bool last = ending_;
    if (std::exchange(try_now_, false)) next_try_ = {};
    auto requests = std::exchange(waiting_, {});
    working_ = true;
    lock.unlock();
    try {
      work(std::move(requests), last);
    } catch (const std::exception& error) {  // the spool's disk
      warn_(std::string(error.what()) + "; what was logged is lost");
    }
    lock.lock();
    working_ = false;
    run_id_ = run_.run_id;
    spool_name_ = spool_.empty() ? "" : spool_.file().string();
    changed_.notify_all();
    if (last) return;
  }
}

void MLFlowSender::work(std::vector<MLFlowRequest> requests, bool last) {
  auto first = requests.begin();
  if (spool_.empty() && !last) {
    while (first != requests.end() && send(*first)) ++first;
  }
  spool_.append(run_, {std::make_move_iterator(first), std::make_move_iterator(requests.end())});
  if (!spool_.empty() && !last && Clock::now() >= next_try_ && send_spooled()) spool_.remove();
}

bool MLFlowSender::send_spooled() {
  while (const auto request = spool_.next()) {
    if (!send(*request)) return false;
    spool_.done();
  }
  return true;
}

bool MLFlowSender::send(const MLFlowRequest& request) {
  const bool is_new = run_.run_id.empty();
  const auto outcome = client_.send(run_, request);
  if (is_new && !run_.run_id.empty()) on_run_(run_.run_id);
  if (outcome.sent == Sent::kAway) return now_away(outcome.cause), false;
  // Not one line a step: the first, the second, the fourth, ...
  if (outcome.sent == Sent::kRefused && std::has_single_bit(++refused_))
    warn_("MLFlowLogger: a request is dropped, because the server refuses it (" + std::to_string(refused_) +
          " so far): " + outcome.cause);
  back_off_ = {};
  return true;
}

void MLFlowSender::now_away(const std::string& cause) {
  back_off_ = std::clamp(2 * back_off_, kFirstBackOff, kLastBackOff);
  next_try_ = Clock::now() + back_off_;
  if (!std::exchange(warned_, true))
    warn_("MLFlowLogger: the server is away (" + cause + "); what is logged waits in " +
          spool_.file().string() + " until it is back");
  const std::lock_guard lock(mutex_);
  ++failed_tries_;
}

}  // namespace rtrain::loggers
