// So many of something at once: who wants more than there is waits his turn.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>

namespace rtrain::async {

/// @thread one executor.  @lifetime by shared_ptr; each share keeps one.
class Budget {
 public:
  Budget(boost::asio::any_io_executor executor, std::size_t all)
      : executor_(std::move(executor)), all_(all), left_(all) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  /// What one user of it has taken; given back when it is destroyed.
  class Share {
   public:
    explicit Share(std::shared_ptr<Budget> budget) : budget_(std::move(budget)) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { give_back(); }
    /// Waits in line for `amount` (more than all counts as all). False after `limit`: nothing was taken.
    boost::asio::awaitable<bool> async_take(std::size_t amount, std::chrono::milliseconds limit);
    void give_back();

   private:
    std::shared_ptr<Budget> budget_;
    std::size_t taken_ = 0;
  };

  [[nodiscard]] std::size_t left() const { return left_; }

 private:
  struct Waiting {
    std::size_t amount;
    boost::asio::steady_timer timer;
    bool served = false;
  };
  void serve();

  boost::asio::any_io_executor executor_;
  std::size_t all_, left_;
  std::deque<std::shared_ptr<Waiting>> waiting_;
};

}  // namespace rtrain::async
