import * as fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { newSigningSecret, signDelivery, signingKeyOf } from '../../../shared/delivery/signature.ts';

const nowSeconds = () => Math.floor(Date.now() / 1000);

describe('signDelivery', () => {
  // standard-webhooks/standard-webhooks, libraries/javascript/src/webhook.test.ts
  it('gives the signature that Standard Webhooks publishes for its test vector', () => {
    const signature = signDelivery([signingKeyOf('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')], {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestamp: 1_614_265_330,
      body: '{"test": 2432232314}',
    });
    expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('is accepted by the official library for any id and any body', () => {
    const secret = newSigningSecret();
    const anyBody = fc.json().filter((text) => text !== '');
    fc.assert(
      fc.property(fc.stringMatching(/^[\x21-\x7e]{1,64}$/u), anyBody, (id, body) => {
        const timestamp = nowSeconds();
        const headers = {
          'webhook-id': id,
          'webhook-timestamp': String(timestamp),
          'webhook-signature': signDelivery([signingKeyOf(secret)], { id, timestamp, body }),
        };
        expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
      }),
    );
  });

  it('signs with every secret while a rotation overlaps', () => {
    const secrets = [newSigningSecret(), newSigningSecret()];
    const delivery = { id: 'msg_1', timestamp: nowSeconds(), body: '{}' };
    const headers = {
      'webhook-id': delivery.id,
      'webhook-timestamp': String(delivery.timestamp),
      'webhook-signature': signDelivery(secrets.map(signingKeyOf), delivery),
    };
    for (const secret of secrets) expect(new Webhook(secret).verify('{}', headers)).toEqual({});
    expect(() => new Webhook(newSigningSecret()).verify('{}', headers)).toThrow('No matching signature');
  });
});

describe('newSigningSecret', () => {
  it('makes 32 random bytes, different every time', () => {
    const [one, other] = [newSigningSecret(), newSigningSecret()];
    expect(one).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/u);
    expect(one).not.toBe(other);
  });
});
