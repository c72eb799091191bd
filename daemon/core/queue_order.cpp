#include "daemon/core/queue_order.h"

#include <algorithm>

namespace rtrain::core {

// ---- accounts -------------------------------------------------------------------------------------------------

int Accounts::number(const std::string& queue, const std::string& user) {
  const auto [found, is_new] = numbers_.try_emplace({queue, user}, size());
  if (is_new) {
    accounts_.push_back({queue, user, {}});
    queues_.try_emplace(queue);
  }
  return found->second;
}

void Accounts::hold(int account, const Held& more, int sign) {
  auto& held = accounts_[static_cast<std::size_t>(account)];
  add(held.held, more, sign);
  add(queues_.at(held.queue), more, sign);
}

std::vector<int> Accounts::ranks(const FairShare& fair_share, const proto::Queues& queues, const proto::Resources& totals) const {
  std::map<std::string, proto::Resources> by_queue;
  for (const auto& [account, used] : fair_share.used())
    for (const auto& [name, amount] : used) by_queue[account.first][name] += amount;
  using Shares = std::pair<double, double>;  // the queue's, the user's
  std::vector<Shares> shares;
  for (const auto& account : accounts_) {
    const auto queue = by_queue.find(account.queue);
    const auto user = fair_share.used().find({account.queue, account.user});
    shares.emplace_back(queue == by_queue.end() ? 0 : fair_share.dominant(queue->second, totals) / rules_of(queues, account.queue).weight,
                        user == fair_share.used().end() ? 0 : fair_share.dominant(user->second, totals));
  }
  std::vector<Shares> sorted = shares;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::vector<int> ranks;
  for (const auto& share : shares) ranks.push_back(static_cast<int>(std::lower_bound(sorted.begin(), sorted.end(), share) - sorted.begin()));
  return ranks;
}

// ---- lines ----------------------------------------------------------------------------------------------------

void QueueOrder::add(JobId id, int priority, int account, int ask, JobId array, int array_max) {
  remove(id);
  const auto [found, is_new] = line_numbers_.try_emplace({priority, account, ask, array}, 0);
  if (is_new) {
    if (unused_.empty()) {
      unused_.push_back(static_cast<int>(lines_.size()));
      lines_.emplace_back();
    }
    found->second = unused_.back();
    unused_.pop_back();
    auto& line = lines_[static_cast<std::size_t>(found->second)];
    line.priority = priority;
    line.account = account;
    line.ask = ask;
    line.array = array;
    if (std::cmp_greater_equal(ask, by_ask_.size())) by_ask_.resize(static_cast<std::size_t>(ask) + 1);
    auto& same = by_ask_[static_cast<std::size_t>(ask)];
    line.among = same.size();
    same.push_back(found->second);
  }
  auto& line = lines_[static_cast<std::size_t>(found->second)];
  line.array_max = array_max;
  line.jobs.insert(line.jobs.end(), id);
  line_of_[id] = found->second;
}

bool QueueOrder::remove(JobId id) {
  const auto found = line_of_.find(id);
  if (found == line_of_.end()) return false;
  auto& line = lines_[static_cast<std::size_t>(found->second)];
  line.jobs.erase(id);
  if (line.jobs.empty()) {
    line_numbers_.erase({line.priority, line.account, line.ask, line.array});
    unused_.push_back(found->second);
    auto& same = by_ask_[static_cast<std::size_t>(line.ask)];
    lines_[static_cast<std::size_t>(same.back())].among = line.among;
    same[line.among] = same.back();
    same.pop_back();
  }
  line_of_.erase(found);
  return true;
}

InOrder::InOrder(const QueueOrder& order, const std::vector<int>& ranks) : lines_(order.lines()) {
  heads_.reserve(order.by_ask().size());
  for (const auto& same : order.by_ask()) {
    if (same.empty()) continue;
    auto& heads = heads_.emplace_back();
    heads.reserve(same.size());
    for (const int number : same) {
      const auto& line = lines_[static_cast<std::size_t>(number)];
      heads.push_back({{line.priority, ranks[static_cast<std::size_t>(line.account)], *line.jobs.begin()}, number, line.jobs.begin()});
    }
    std::make_heap(heads.begin(), heads.end(), later);
  }
  for (auto& heads : heads_) asks_.push_back(&heads);
  std::make_heap(asks_.begin(), asks_.end(), later_ask);
}

std::optional<InOrder::At> InOrder::at() const {
  if (asks_.empty()) return std::nullopt;
  const auto& head = asks_.front()->front();
  return At{head.line, head.turn};
}

void InOrder::settle() {
  if (asks_.back()->empty()) asks_.pop_back();
  else std::push_heap(asks_.begin(), asks_.end(), later_ask);
}

void InOrder::next_job() {
  std::pop_heap(asks_.begin(), asks_.end(), later_ask);
  auto& heads = *asks_.back();
  std::pop_heap(heads.begin(), heads.end(), later);
  auto& head = heads.back();
  if (++head.job == lines_[static_cast<std::size_t>(head.line)].jobs.end()) {
    heads.pop_back();
  } else {
    head.turn.id = *head.job;
    std::push_heap(heads.begin(), heads.end(), later);
  }
  settle();
}

void InOrder::skip_line() {
  std::pop_heap(asks_.begin(), asks_.end(), later_ask);
  auto& heads = *asks_.back();
  std::pop_heap(heads.begin(), heads.end(), later);
  heads.pop_back();
  settle();
}

void InOrder::skip_ask() {
  std::pop_heap(asks_.begin(), asks_.end(), later_ask);
  asks_.pop_back();
}

}  // namespace rtrain::core
