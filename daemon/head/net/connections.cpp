#include "daemon/head/net/connections.h"

#include <algorithm>

namespace rtrain::head {

Connections::Place::~Place() {
  if (owner_ != nullptr) owner_->leave(id_);
}
void Connections::Place::known() { owner_->stand(id_, Standing::kBusy); }
void Connections::Place::idle() { owner_->stand(id_, Standing::kIdle); }

Connections::Room Connections::room(Kind kind, Time now) const {
  if (size() < max_ || longest_stranger(now) != 0 || longest_user(Standing::kIdle) != 0) return Room::kYes;
  if (kind == Kind::kAgent && longest_user(Standing::kBusy) != 0) return Room::kYes;
  return strangers_.empty() ? Room::kNo : Room::kLater;
}

Connections::Place Connections::admit(Kind kind, std::string peer, Time now, Close close_it) {
  if (room(kind, now) != Room::kYes) return {};
  if (size() >= max_ && !make_room(now)) close(connections_.at(longest_user(Standing::kBusy)));
  const auto id = next_++;
  auto& connection = connections_[id] = {kind, std::move(peer), std::move(close_it), now};
  connection.since = id;
  strangers_[connection.peer][connection.since] = id;
  return {shared_from_this(), id};
}

bool Connections::make_room(Time now) {
  auto leaving = longest_stranger(now);
  if (leaving == 0) leaving = longest_user(Standing::kIdle);
  if (leaving == 0) return false;
  close(connections_.at(leaving));
  return true;
}

void Connections::close_all() {
  for (auto& [id, connection] : connections_)
    if (!connection.closed) close(connection);
}

void Connections::close(Connection& connection) {
  // Out of the lists first: it must not be chosen again while its server has not noticed.
  connection.closed = true;
  ++closed_;
  unlist(connection);
  connection.close();
}

void Connections::unlist(const Connection& connection) {
  if (connection.standing != Standing::kStranger) {
    idle_.erase(connection.since);
    busy_.erase(connection.since);
    return;
  }
  const auto of_peer = strangers_.find(connection.peer);
  of_peer->second.erase(connection.since);
  if (of_peer->second.empty()) strangers_.erase(of_peer);
}

void Connections::stand(std::uint64_t id, Standing standing) {
  auto& connection = connections_.at(id);
  if (connection.closed || connection.standing == standing) return;
  unlist(connection);
  connection.standing = standing;
  connection.since = next_++;
  if (connection.kind == Kind::kUser) (standing == Standing::kIdle ? idle_ : busy_)[connection.since] = id;
}

void Connections::leave(std::uint64_t id) {
  const auto found = connections_.find(id);
  if (found->second.closed)
    --closed_;
  else
    unlist(found->second);
  connections_.erase(found);
}

std::uint64_t Connections::longest_stranger(Time now) const {
  std::uint64_t found = 0;
  std::size_t crowd = 0;
  for (const auto& [peer, strangers] : strangers_) {
    const auto id = strangers.begin()->second;
    if (strangers.size() <= crowd || now - connections_.at(id).admitted < kPatience) continue;
    crowd = strangers.size();
    found = id;
  }
  return found;
}

std::uint64_t Connections::longest_user(Standing standing) const {
  const auto& users = standing == Standing::kIdle ? idle_ : busy_;
  return users.empty() ? 0 : users.begin()->second;
}

}  // namespace rtrain::head
