#include "daemon/core/queue_order.h"

#include <algorithm>

namespace rtrain::core {

// ---- accounts -----------------------------------------------------------------------------------

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

std::vector<int> Accounts::ranks(const FairShare& fair_share, const proto::Queues& queues,
                                 const proto::Resources& totals) const {
  std::map<std::string, proto::Resources> by_queue;
  for (const auto& [account, used] : fair_share.used())
    for (const auto& [name, amount] : used) by_queue[account.first][name] += amount;
  using Shares = std::pair<double, double>;  // the queue's, the user's
  std::vector<Shares> shares;
  for (const auto& account : accounts_) {
    const auto queue = by_queue.find(account.queue);
    const auto user = fair_share.used().find({account.queue, account.user});
    shares.emplace_back(queue == by_queue.end() ? 0
                                                : fair_share.dominant(queue->second, totals) /
                                                      rules_of(queues, account.queue).weight,
                        user == fair_share.used().end() ? 0 : fair_share.dominant(user->second, totals));
  }
  std::vector<Shares> sorted = shares;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::vector<int> ranks;
  for (const auto& share : shares)
    ranks.push_back(static_cast<int>(std::lower_bound(sorted.begin(), sorted.end(), share) - sorted.begin()));
  return ranks;
}

// ---- lines --------------------------------------------------------------------------------------

void QueueOrder::add(JobId id, int priority, int account, int ask) {
  remove(id);
  const auto [found, is_new] = line_numbers_.try_emplace({priority, account, ask}, 0);
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
    if (std::cmp_greater_equal(ask, by_ask_.size())) by_ask_.resize(static_cast<std::size_t>(ask) + 1);
    auto& same = by_ask_[static_cast<std::size_t>(ask)];
    line.among = same.size();
    same.push_back({found->second, priority, account, id});
  }
  auto& line = lines_[static_cast<std::size_t>(found->second)];
  line.jobs.insert(line.jobs.end(), id);
  by_ask_[static_cast<std::size_t>(ask)][line.among].first = *line.jobs.begin();
  line_of_[id] = found->second;
}

bool QueueOrder::remove(JobId id) {
  const auto found = line_of_.find(id);
  if (found == line_of_.end()) return false;
  auto& line = lines_[static_cast<std::size_t>(found->second)];
  line.jobs.erase(id);
  auto& same = by_ask_[static_cast<std::size_t>(line.ask)];
  if (!line.jobs.empty()) {
    same[line.among].first = *line.jobs.begin();
  } else {
    line_numbers_.erase({line.priority, line.account, line.ask});
    unused_.push_back(found->second);
    lines_[static_cast<std::size_t>(same.back().line)].among = line.among;
    same[line.among] = same.back();
    same.pop_back();
  }
  line_of_.erase(found);
  return true;
}

InOrder::InOrder(const QueueOrder& order, const std::vector<int>& ranks)
    : lines_(order.lines()), ranks_(ranks) {
  heads_.reserve(order.by_ask().size());
  for (const auto& same : order.by_ask()) {
    if (same.empty()) continue;
    auto& heads = heads_.emplace_back();
    heads.entries = &same;
    for (const auto& entry : same) {
      const Turn turn{entry.priority, ranks[static_cast<std::size_t>(entry.account)], entry.first};
      if (&entry == &same.front() || turn < heads.best.turn) heads.best = {entry.line, turn};
    }
  }
  for (auto& heads : heads_) asks_.push_back(&heads);
  std::make_heap(asks_.begin(), asks_.end(), later_ask);
}

std::optional<InOrder::At> InOrder::at() const {
  if (asks_.empty()) return std::nullopt;
  return asks_.front()->best;
}

/// The ask whose turn it is goes to the back, its first line to the back of its heap.
InOrder::Heads& InOrder::take_first() {
  std::pop_heap(asks_.begin(), asks_.end(), later_ask);
  auto& heads = *asks_.back();
  if (!std::exchange(heads.made, true)) {
    for (const auto& entry : *heads.entries)
      heads.heap.push_back({{entry.priority, ranks_[static_cast<std::size_t>(entry.account)], entry.first},
                            entry.line,
                            lines_[static_cast<std::size_t>(entry.line)].jobs.begin()});
    std::make_heap(heads.heap.begin(), heads.heap.end(), later);
  }
  std::pop_heap(heads.heap.begin(), heads.heap.end(), later);
  return heads;
}

void InOrder::settle(Heads& heads) {
  if (heads.heap.empty()) return asks_.pop_back();
  heads.best = {heads.heap.front().line, heads.heap.front().turn};
  std::push_heap(asks_.begin(), asks_.end(), later_ask);
}

void InOrder::next_job() {
  auto& heads = take_first();
  auto& head = heads.heap.back();
  if (++head.job == lines_[static_cast<std::size_t>(head.line)].jobs.end()) {
    heads.heap.pop_back();
  } else {
    head.turn.id = *head.job;
    std::push_heap(heads.heap.begin(), heads.heap.end(), later);
  }
  settle(heads);
}

void InOrder::skip_line() {
  auto& heads = take_first();
  heads.heap.pop_back();
  settle(heads);
}

void InOrder::skip_ask() {
  std::pop_heap(asks_.begin(), asks_.end(), later_ask);
  asks_.pop_back();
}

}  // namespace rtrain::core
