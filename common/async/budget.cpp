#include "common/async/budget.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <utility>

namespace rtrain::async {
namespace asio = boost::asio;

asio::awaitable<bool> Budget::Share::async_take(std::size_t amount, std::chrono::milliseconds limit) {
  amount = std::min(amount, budget_->all_);
  if (budget_->waiting_.empty() && amount <= budget_->left_) {
    budget_->left_ -= amount;
    taken_ += amount;
    co_return true;
  }
  const auto waiting =
      std::make_shared<Waiting>(Waiting{amount, asio::steady_timer(budget_->executor_, limit)});
  budget_->waiting_.push_back(waiting);
  co_await waiting->timer.async_wait(asio::as_tuple(asio::use_awaitable));
  if (waiting->served) {
    taken_ += amount;
  } else {
    std::erase(budget_->waiting_, waiting);
    budget_->serve();  // it may have stood before others that ask for less
  }
  co_return waiting->served;
}

void Budget::Share::give_back() {
  budget_->left_ += std::exchange(taken_, 0);
  budget_->serve();
}

void Budget::serve() {
  while (!waiting_.empty() && waiting_.front()->amount <= left_) {
    const auto next = waiting_.front();
    waiting_.pop_front();
    left_ -= next->amount;
    next->served = true;
    next->timer.cancel();
  }
}

}  // namespace rtrain::async
