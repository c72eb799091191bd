#include "daemon/head/api/news.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace rtrain::head {
namespace asio = net::asio;

asio::awaitable<void> News::async_wait(std::chrono::milliseconds limit) {
  // A timer of its own for the limit would need a second wait; the shared one is simply re-armed: who waits
  // compares anyway.
  if (timer_.expiry() <= std::chrono::steady_clock::now() ||
      timer_.expiry() > std::chrono::steady_clock::now() + limit)
    timer_.expires_after(limit);
  co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
}

std::shared_ptr<News> JobNews::of(JobId job) {
  std::erase_if(followed_, [](const auto& entry) { return entry.second.expired(); });
  auto& known = followed_[job];
  auto news = known.lock();
  if (!news) known = news = std::make_shared<News>(executor_);
  return news;
}

void JobNews::announce(JobId job) {
  if (followed_.empty()) return;
  const auto found = followed_.find(job);
  if (found == followed_.end()) return;
  if (const auto news = found->second.lock())
    news->announce();
  else
    followed_.erase(found);
}

void JobNews::announce_all() {
  for (const auto& [job, known] : followed_)
    if (const auto news = known.lock()) news->announce();
}

}  // namespace rtrain::head
