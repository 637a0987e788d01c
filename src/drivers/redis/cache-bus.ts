import type { TierListener } from '../../cache/driver.js';
import type { CachePublisher } from './cache-changes.js';
import type { CacheKeys } from './cache-keys.js';
import type { NewsMedium } from './cache-listening.js';
import { heard, type NewsEffect, type NewsEvent, newsOf, type ToldChange } from './cache-news.js';
import { newsOfText } from './cache-news-text.js';

/**
 * Hears of changes from those who make them, over pub/sub. The listener hears `live` when this
 * process hears itself, and `lost` when it does not any more: so the whole way is tried, the
 * client's own connection and whatever stands between.
 */
export function cacheBus(
  keys: CacheKeys,
  publisher: CachePublisher,
  listener: TierListener,
): NewsMedium {
  let state = newsOf(publisher.id);

  const drop = (told: ToldChange): void => {
    if (told.of === 'all') listener.changed(undefined);
    else if (told.of === 'keys') for (const key of told.names) listener.changed(key);
    else for (const tag of told.names) listener.renewed(tag);
  };
  const act = (effect: NewsEffect): void => {
    if (effect.kind === 'live') listener.live();
    else if (effect.kind === 'drop') drop(effect.told);
    else if (effect.kind === 'clear') listener.changed(undefined);
    else throw new Error('what this process publishes does not come back to it');
  };
  const take = (event: NewsEvent): void => {
    const [next, effects] = heard(state, event);
    state = next;
    for (const effect of effects) act(effect);
  };
  return {
    async listen(connection) {
      await connection.subscribe(keys.newsChannel);
    },
    begun() {
      take({ kind: 'opened' });
      publisher.beat();
    },
    hear(message) {
      const news = newsOfText(String(message));
      // Of a newer release perhaps: it may have told anything.
      if (news === undefined) listener.changed(undefined);
      else take(news);
    },
    check: () => take({ kind: 'checked' }),
    ended() {
      take({ kind: 'closed' });
      listener.lost();
    },
  };
}
