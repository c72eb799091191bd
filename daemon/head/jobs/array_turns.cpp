#include "daemon/head/jobs/array_turns.h"

namespace rtrain::head {

void ArrayTurns::runs(JobId id, const proto::ArrayTask& task) {
  if (task.max_running > 0) lines_[task.id].turns.insert(id);
}

std::vector<JobId> ArrayTurns::waits(JobId id, const proto::ArrayTask& task) {
  if (task.max_running == 0) return {};
  auto& line = lines_[task.id];
  if (!line.turns.contains(id)) line.waiting.insert(id);
  return move_up(line, task.max_running);
}

std::vector<JobId> ArrayTurns::leaves(JobId id, const proto::ArrayTask& task) {
  const auto found = lines_.find(task.id);
  if (found == lines_.end()) return {};
  auto& line = found->second;
  line.turns.erase(id);
  line.waiting.erase(id);
  auto next = move_up(line, task.max_running);
  if (line.turns.empty() && line.waiting.empty()) lines_.erase(found);
  return next;
}

bool ArrayTurns::has_turn(JobId id, const proto::ArrayTask& task) const {
  if (task.max_running == 0) return true;
  const auto found = lines_.find(task.id);
  return found != lines_.end() && found->second.turns.contains(id);
}

std::vector<JobId> ArrayTurns::move_up(Line& line, int max_running) {
  std::vector<JobId> next;
  while (!line.waiting.empty() && std::cmp_less(line.turns.size(), max_running)) {
    const auto first = line.waiting.extract(line.waiting.begin());
    next.push_back(first.value());
    line.turns.insert(first.value());
  }
  return next;
}

}  // namespace rtrain::head
