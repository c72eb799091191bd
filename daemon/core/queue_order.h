// The order of the jobs that wait: lines of jobs that differ in their number only, merged when a pass looks
// at them. Pure.
#pragma once

#include "daemon/core/fair_share.h"
#include "daemon/core/queue_rules.h"
#include "daemon/core/request_book.h"

#include <set>
#include <unordered_map>

namespace rtrain::core {

/// A user's share of a queue.
struct Account {
  std::string queue, user;
  Held held;
};

/// Queues and users as numbers, with what their jobs hold.
class Accounts {
 public:
  [[nodiscard]] int number(const std::string& queue, const std::string& user);
  [[nodiscard]] const Account& operator[](int account) const {
    return accounts_[static_cast<std::size_t>(account)];
  }
  [[nodiscard]] const Held& queue_held(int account) const {
    return queues_.at(accounts_[static_cast<std::size_t>(account)].queue);
  }
  [[nodiscard]] int size() const { return static_cast<int>(accounts_.size()); }
  void hold(int account, const Held& more, int sign);
  /// For each account its rank by fair share, from 0: first the queue's dominant share by its weight, then
  /// the user's. Equal shares have equal ranks.
  [[nodiscard]] std::vector<int> ranks(const FairShare& fair_share, const proto::Queues& queues,
                                       const proto::Resources& totals) const;

 private:
  std::vector<Account> accounts_;
  std::map<std::pair<std::string, std::string>, int> numbers_;
  std::map<std::string, Held> queues_;
};

/// Where a job stands: what is smaller comes first.
struct Turn {
  int priority = 0;  ///< higher comes first
  int rank = 0;      ///< by fair share
  JobId id;
  friend bool operator<(const Turn& a, const Turn& b) {
    if (a.priority != b.priority) return a.priority > b.priority;
    return a.rank != b.rank ? a.rank < b.rank : a.id < b.id;
  }
};

/// Jobs with the same requests, priority, queue and user.
struct Line {
  int priority = 0, account = 0, ask = 0;
  std::set<JobId> jobs;
  std::size_t among = 0;  ///< its place among the lines with its ask
};

class QueueOrder {
 public:
  void add(JobId id, int priority, int account, int ask);
  /// False when it does not wait.
  bool remove(JobId id);
  [[nodiscard]] bool contains(JobId id) const { return line_of_.contains(id); }
  [[nodiscard]] const Line& line_of(JobId id) const {
    return lines_[static_cast<std::size_t>(line_of_.at(id))];
  }
  [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }  ///< some are empty
  [[nodiscard]] std::size_t size() const { return line_of_.size(); }
  /// Of each line what decides on its turn, by ask: read at every pass, so it lies together.
  struct Entry {
    int line = 0, priority = 0, account = 0;
    JobId first;
  };
  [[nodiscard]] const std::vector<std::vector<Entry>>& by_ask() const { return by_ask_; }

 private:
  struct LineKey {
    int priority, account, ask;
    friend bool operator==(const LineKey&, const LineKey&) = default;
  };
  struct Hash {
    std::size_t operator()(const LineKey& key) const {
      std::size_t hash = static_cast<std::size_t>(key.priority) + 5000;
      for (const auto part : {static_cast<std::size_t>(key.account), static_cast<std::size_t>(key.ask)})
        hash = hash * 0x9e3779b97f4a7c15U + part + (hash >> 29);
      return hash;
    }
  };
  std::vector<Line> lines_;
  std::vector<int> unused_;  ///< numbers of empty lines
  std::unordered_map<LineKey, int, Hash> line_numbers_;
  std::unordered_map<JobId, int> line_of_;
  std::vector<std::vector<Entry>> by_ask_;
};

/// Goes through the lines in the order of their jobs. An ask that is done with costs nothing more, however
/// many lines have it.
class InOrder {
 public:
  /// Both must outlive it, and stay as they are meanwhile.
  InOrder(const QueueOrder& order, const std::vector<int>& ranks);
  struct At {
    int line;
    Turn turn;
  };
  /// The job whose turn it is; nothing at the end.
  [[nodiscard]] std::optional<At> at() const;
  void next_job();   ///< on to the next one
  void skip_line();  ///< the same, without the others of its line
  void skip_ask();   ///< the same, without all others that ask for the same

 private:
  struct Head {
    Turn turn;
    int line;
    std::set<JobId>::const_iterator job;
  };
  struct Heads {
    const std::vector<QueueOrder::Entry>* entries;
    At best;                 ///< its first job
    std::vector<Head> heap;  ///< of all its lines; made when one job of the ask was not enough
    bool made = false;
  };
  static bool later(const Head& a, const Head& b) { return b.turn < a.turn; }
  static bool later_ask(const Heads* a, const Heads* b) { return b->best.turn < a->best.turn; }
  Heads& take_first();
  void settle(Heads& heads);
  const std::vector<Line>& lines_;
  const std::vector<int>& ranks_;
  std::vector<Heads> heads_;
  std::vector<Heads*> asks_;  ///< a heap of those that are left; while one is worked on it stands at the back
};

}  // namespace rtrain::core
