#include "daemon/head/api/queue_documents.h"

namespace rtrain::head {
namespace {

void add(proto::Resources& sum, const proto::Resources& more) {
  for (const auto& [name, amount] : more) sum[name] += amount;
}

/// Makes fractions of dominant shares.
template <class Docs, class UsageOf>
void normalise(Docs& docs, UsageOf usage_of) {
  double sum = 0;
  for (auto& doc : docs) sum += usage_of(doc);
  for (auto& doc : docs)
    if (sum > 0) usage_of(doc) /= sum;
}

class QueueDocs {
 public:
  QueueDocs(const core::Planner& planner, const JobTally& tally) {
    queue("default");
    for (const auto& [name, rules] : planner.queues()) queue(name);
    for (const auto& [account, living] : tally.living()) {
      for (auto* counts : {&queue(account.first).running, &user(account).running}) *counts += living.running;
      for (auto* counts : {&queue(account.first).waiting, &user(account).waiting}) *counts += living.waiting;
    }
    for (int i = 0; i < planner.accounts().size(); ++i) {
      const auto& [name, user_name, held] = planner.accounts()[i];
      if (held.jobs == 0) continue;
      const std::pair account(name, user_name);
      for (auto* gpus : {&queue(name).gpus, &user(account).gpus}) *gpus += held.gpus;
      for (auto* cpus : {&queue(name).cpus, &user(account).cpus}) *cpus += held.cpus;
    }
    for (const auto& [account, used] : planner.fair_share().used()) {
      add(queue(account.first).used, used);
      add(user(account).used, used);
    }
    set_rules(planner.queues());
    set_shares(planner.fair_share(), planner.totals());
  }

  [[nodiscard]] std::vector<proto::QueueDoc> take() {
    std::vector<proto::QueueDoc> docs;
    for (auto& [name, doc] : queues_) docs.push_back(std::move(doc));
    for (auto& doc : docs) normalise(doc.users, [](auto& one) -> double& { return one.usage; });
    normalise(docs, [](auto& one) -> double& { return one.usage; });
    return docs;
  }

 private:
  proto::QueueDoc& queue(const std::string& name) {
    auto& doc = queues_[name];
    doc.name = name;
    return doc;
  }
  proto::QueueUserDoc& user(const std::pair<std::string, std::string>& account) {
    auto& doc = users_[account];
    doc.name = account.second;
    return doc;
  }
  void set_rules(const proto::Queues& queues) {
    double weights = 0;
    for (auto& [name, doc] : queues_) {
      const auto& rules = core::rules_of(queues, name);
      weights += doc.weight = rules.weight;
      doc.gpus_max = rules.queue.gpus_max;
      doc.cpus_max = rules.queue.cpus_max;
      doc.jobs_max = rules.queue.jobs_max;
      doc.user_gpus_max = rules.user.gpus_max;
      doc.user_cpus_max = rules.user.cpus_max;
      doc.user_jobs_max = rules.user.jobs_max;
    }
    for (auto& [name, doc] : queues_) doc.share = doc.weight / weights;
  }
  void set_shares(const core::FairShare& fair_share, const proto::Resources& totals) {
    for (auto& [account, doc] : users_) {
      doc.usage = fair_share.dominant(doc.used, totals);
      queues_.at(account.first).users.push_back(doc);
    }
    for (auto& [name, doc] : queues_) doc.usage = fair_share.dominant(doc.used, totals);
  }

  std::map<std::string, proto::QueueDoc> queues_;
  std::map<std::pair<std::string, std::string>, proto::QueueUserDoc> users_;
};

}  // namespace

std::vector<proto::QueueDoc> queue_docs(const core::Planner& planner, const JobTally& tally) {
  return QueueDocs(planner, tally).take();
}

}  // namespace rtrain::head
