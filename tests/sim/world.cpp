#include "tests/sim/world.h"

#include <algorithm>
#include <cstdio>

namespace rtrain::sim {

std::string to_text(Time time) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld.%06lld", static_cast<long long>(time / 1'000'000),
                static_cast<long long>(time % 1'000'000));
  return text;
}

void World::at(Time when, std::function<void()> act) {
  heap_.push_back({std::max(when, now_), ++last_number_, std::move(act)});
  std::push_heap(heap_.begin(), heap_.end(), later);
}

bool World::step(Time limit) {
  if (heap_.empty() || heap_.front().when > limit) return false;
  std::pop_heap(heap_.begin(), heap_.end(), later);
  Event event = std::move(heap_.back());
  heap_.pop_back();
  now_ = event.when;
  ++events_;
  event.act();
  return true;
}

void World::keep(std::string line) {
  if (printing_) std::printf("%s\n", line.c_str());
  lines_.push_back(std::move(line));
  if (lines_.size() > kLinesKept) lines_.pop_front();
}

}  // namespace rtrain::sim
