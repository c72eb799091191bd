#include "common/log/delivery.h"

#include <atomic>

namespace rtrain::log {
namespace {

std::atomic<RateLimited*> first = nullptr;

}  // namespace

RateLimited::RateLimited(Level level, std::string_view what)
    : level_(level), what_(what), next_(first.load()) {
  while (!first.compare_exchange_weak(next_, this)) {
  }
}

void RateLimited::write(std::chrono::steady_clock::time_point now, std::string_view message,
                        std::initializer_list<Field> fields) {
  tell(now);
  {
    const std::lock_guard lock(mutex_);
    if (lines_ == 0) window_ = now;
    if (lines_ >= kLines) return void(++suppressed_);
    ++lines_;
  }
  log::write(level_, message, fields);
}

void RateLimited::tell(std::chrono::steady_clock::time_point now) {
  std::int64_t suppressed = 0;
  {
    const std::lock_guard lock(mutex_);
    if (lines_ == 0 || now < window_ + kWindow) return;
    lines_ = 0;
    suppressed = std::exchange(suppressed_, 0);
  }
  if (suppressed > 0)
    log::write(level_, what_,
               {{"not_logged", std::to_string(suppressed)}, {"in_s", std::to_string(kWindow.count())}});
}

std::int64_t RateLimited::suppressed() const {
  const std::lock_guard lock(mutex_);
  return suppressed_;
}

void RateLimited::report_all() {
  const auto now = std::chrono::steady_clock::now();
  for (auto* limited = first.load(); limited != nullptr; limited = limited->next_) limited->tell(now);
}

}  // namespace rtrain::log
